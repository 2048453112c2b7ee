// WebSockets with ws, as its README shows: a loop over the clients that are open, each message serialised once, and a
// ping every 30 seconds that ends who didn't answer the one before.

import { createServer } from 'node:http';
import express from 'express';
import { WebSocket, WebSocketServer } from 'ws';
import { listen } from './port.mjs';

const app = express();
app.use(express.json());

const server = createServer(app);
const wss = new WebSocketServer({ server });

wss.on('connection', (ws) => {
  ws.isAlive = true;
  ws.on('error', console.error);
  ws.on('pong', () => {
    ws.isAlive = true;
  });
});

setInterval(() => {
  for (const ws of wss.clients) {
    if (!ws.isAlive) {
      ws.terminate();
      continue;
    }
    ws.isAlive = false;
    ws.ping();
  }
}, 30_000);

app.post('/publish', (req, res) => {
  const message = JSON.stringify(req.body);
  for (const client of wss.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(message);
  }
  res.json({ success: true, clients: wss.clients.size });
});

listen(server);
