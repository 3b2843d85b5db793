/** Quotes any text as one word of a shell, for a command line in a message that the reader copies. */
export function shellWord(text: string): string {
  return /^[\w.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}
