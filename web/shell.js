// Lines for a shell, to copy. What comes from a link could be anything, also the end of a quotation and a command.

/**
 * A text as one word of a POSIX shell (section 2.2.2 of its standard: between apostrophes nothing means anything).
 * @param {string} text
 */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
