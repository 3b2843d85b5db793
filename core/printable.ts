/** Text for people: on one line, and without passwords. */

/** Converts untrusted text to one line without terminal control characters. */
export function printable(value: string): string {
  return value.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
}

/** Hides passwords in addresses of any origin. The time is proportional to the length of the line, whatever its content. */
export function withoutSecrets(line: string): string {
  return line.replaceAll(/:\/\/\S*/g, hidden).replaceAll(/([?&](?:password|sslpassword)=)[^&\s"']*/gi, '$1***')
}

/** @param address from its `://` on; more text, such as a second address, may follow its host */
function hidden(address: string): string {
  const host = address.lastIndexOf('@')
  const user = /:\/\/[^:/]*:/.exec(address.slice(0, Math.max(0, host)))
  return user === null ? address : `${address.slice(0, user.index + user[0].length)}***${address.slice(host)}`
}
