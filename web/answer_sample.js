// A text to stream: what happens while it is streamed.

const SAMPLE = `Each word that you see here was one POST to the hub, as a language model would send the tokens of an answer.

The hub wrote it to its log, on disk, before it said thanks. Only then did it send it to you, and to every other window that has this page open. Open a second one now: it gets all from the first word on, and then the rest as it comes.

Now reload this page. The text is not in the page, it is the channel’s history, so it is all there again. The writer was in this window, too, and died with it; it asked for a new fence, looked how much is there, and went on with the next word. Had another window taken over meanwhile, the old writer would be told so at its next word, and nothing would be written twice.

Stop the hub, count to ten, and start it again. The browser comes back by itself with the id of the last word that it got. Nothing is missing, nothing is double, byte for byte.

When all is written the channel ends. Whoever comes tomorrow gets the whole text and the end; a browser that asks for more is told to stay away.
`;

/** The text in tokens, each with the space before it. */
export const TOKENS = SAMPLE.match(/\s*\S+|\s+$/gu) ?? [];
