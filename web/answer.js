// A text that comes token by token, for as long as it takes: reload the page, restart the hub, come back tomorrow. The
// text is the channel's history, so the page keeps nothing. `?channel=…` says which; see docs/streamed-answers.md.

const channel = new URLSearchParams(location.search).get('channel') ?? 'answer';
const text = document.getElementById('text');
const state = document.getElementById('state');

// From the start: a page that is loaded anew gets all of it. A connection that was cut goes on where it was.
const source = new EventSource(`/events?as=json&since=start&channel=${encodeURIComponent(channel)}`);

source.onopen = () => {
  state.textContent = 'live';
};
source.onmessage = (event) => {
  text.append(JSON.parse(event.data).data);
};
source.addEventListener('fanfare.end', (event) => {
  state.textContent = `ended: ${JSON.parse(event.data).data.reason}`;
  source.close();
});
source.onerror = () => {
  state.textContent = source.readyState === EventSource.CLOSED ? 'closed' : 'reconnecting';
};
