/** What people read: tables on a terminal, and no secrets. */

/** Columns as wide as they have to be, no cell cut off. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const lines = [head, ...rows.map((row) => row.map(printable))]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Text of strangers on one line, without what would steer a terminal. */
export function printable(value: string): string {
  return value.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
}

/** Passwords in addresses, wherever they come from. */
export function withoutSecrets(line: string): string {
  return line
    .replaceAll(/(:\/\/[^\s:/@]*):[^\s]*@/g, '$1:***@')
    .replaceAll(/([?&](?:password|sslpassword)=)[^&\s"']*/gi, '$1***')
}
