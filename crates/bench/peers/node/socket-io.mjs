// Socket.IO, as its documentation shows: `io.emit` to everybody. Only the WebSocket transport is offered, so that nobody
// begins with long polling; everything else is the library's default, with a ping every 25 seconds.

import { createServer } from 'node:http';
import express from 'express';
import { Server } from 'socket.io';
import { listen } from './port.mjs';

const app = express();
app.use(express.json());

const server = createServer(app);
const io = new Server(server, { transports: ['websocket'] });

app.post('/publish', (req, res) => {
  io.emit('message', req.body);
  res.json({ success: true, clients: io.engine.clientsCount });
});

listen(server);
