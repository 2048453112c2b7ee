// Server-Sent Events with better-sse, as its guide on channels shows: sessions registered with a channel that broadcasts.
// Ids (random), heartbeats (every ten seconds) and headers are the library's defaults.

import { createChannel, createSession } from 'better-sse';
import express from 'express';
import { listen } from './port.mjs';

const app = express();
app.use(express.json());

const channel = createChannel();

app.get('/events', async (req, res) => {
  channel.register(await createSession(req, res));
});

app.post('/publish', (req, res) => {
  channel.broadcast(req.body, 'message');
  res.json({ success: true, clients: channel.sessionCount });
});

listen(app);
