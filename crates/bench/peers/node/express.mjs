// Server-Sent Events with Express, as tutorials write it: a `Set` of open responses and a loop that writes to each.

import express from 'express';
import { listen } from './port.mjs';

const app = express();
app.use(express.json());

const clients = new Set();
let lastId = 0;

app.get('/events', (req, res) => {
  res.set({ 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache', Connection: 'keep-alive' });
  res.flushHeaders();
  res.write(': connected\n\n');
  clients.add(res);

  const heartbeat = setInterval(() => res.write(': heartbeat\n\n'), 30_000);
  req.on('close', () => {
    clearInterval(heartbeat);
    clients.delete(res);
  });
});

app.post('/publish', (req, res) => {
  lastId += 1;
  const block = `id: ${lastId}\ndata: ${JSON.stringify(req.body)}\n\n`;
  for (const client of clients) client.write(block);
  res.json({ success: true, clients: clients.size });
});

listen(app);
