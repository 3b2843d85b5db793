/** Text and JSON for a terminal. */

/** Like `printable` for several lines: for any text that a program writes to a terminal. */
export function printableLines(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) => (found === '\n' || found === '\t' ? found : ' '))
}

/** JSON with escapes for characters that control a terminal: the value is the same. */
export function printableJson(json: string): string {
  return json.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) => (found === '\n' ? found : escaped(found)))
}

function escaped(text: string): string {
  return text
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')
}
