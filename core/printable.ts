/** Text for people: on one line, and without passwords. */

/** Text of strangers on one line, without what would steer a terminal. */
export function printable(value: string): string {
  return value.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
}

/** Passwords in addresses, wherever they come from. */
export function withoutSecrets(line: string): string {
  return line
    .replaceAll(/(:\/\/[^\s:/]*):[^\s]*@/g, '$1:***@')
    .replaceAll(/([?&](?:password|sslpassword)=)[^&\s"']*/gi, '$1***')
}
