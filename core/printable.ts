/** Text for people: on one line, and without passwords. */

/** Text of strangers on one line, without what would steer a terminal. */
export function printable(value: string): string {
  return value.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
}

/** Several lines, as `printable` otherwise: for whatever a program writes to a terminal. */
export function printableLines(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) => (found === '\n' || found === '\t' ? found : ' '))
}

/** JSON with escapes for what would steer a terminal: the value is the same. */
export function printableJson(json: string): string {
  return json.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (found) => (found === '\n' ? found : escaped(found)))
}

function escaped(text: string): string {
  return text
    .split('')
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('')
}

/** Passwords in addresses, wherever they come from. */
export function withoutSecrets(line: string): string {
  return line
    .replaceAll(/(:\/\/[^\s:/@]*):[^\s]*@/g, '$1:***@')
    .replaceAll(/([?&](?:password|sslpassword)=)[^&\s"']*/gi, '$1***')
}
