/**
 * Calls a listener of a user at once and waits for nothing. What it throws goes to `onError`, and so does what an
 * `async` one rejects with: nobody else would hear of it, and it would end the process.
 */
export function tell<Event>(
  listener: (event: Event) => unknown,
  event: Event,
  onError: (error: unknown) => void,
): void {
  const call = async (): Promise<unknown> => listener(event)
  call().catch(onError)
}
