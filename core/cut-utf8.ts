/** Truncates a text to at most `maxBytes` of UTF-8, never in the middle of a character. */
export function cutUtf8(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= maxBytes) return text
  return new TextDecoder('utf-8').decode(bytes.subarray(0, maxBytes), { stream: true })
}
