const LONGEST = 120

/** Renders a JSON value on one line, truncated to 120 characters. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text
}
