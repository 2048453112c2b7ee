// Long polling with Express, as tutorials write it: responses wait in a set until there is an event, then all are
// answered, and every client asks again. The newest events are kept, so that none is lost between two polls.

import express from 'express';
import { listen } from './port.mjs';

const KEPT = 1_000;
const WAIT_MS = 30_000;

const app = express();
app.use(express.json());

const recent = [];
let last = 0;
let waiting = new Set();

function answer(res, after) {
  const events = recent.slice(Math.max(0, recent.length - (last - after)));
  res.json({ last, events });
}

app.get('/poll', (req, res) => {
  // Who doesn't say what came last only wants to know where to begin.
  const after = Number(req.query.after ?? -1);
  if (after < last) {
    answer(res, after < 0 ? last : after);
    return;
  }
  const poll = { res, after };
  // Nothing happened: an empty answer, before a proxy thinks that the connection is dead.
  poll.timer = setTimeout(() => {
    waiting.delete(poll);
    answer(res, after);
  }, WAIT_MS);
  res.on('close', () => {
    clearTimeout(poll.timer);
    waiting.delete(poll);
  });
  waiting.add(poll);
});

app.post('/publish', (req, res) => {
  last += 1;
  recent.push(req.body);
  if (recent.length > KEPT) recent.shift();
  const polls = waiting;
  waiting = new Set();
  for (const poll of polls) {
    clearTimeout(poll.timer);
    answer(poll.res, poll.after);
  }
  res.json({ success: true, clients: polls.size });
});

listen(app);
