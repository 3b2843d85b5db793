import { setTimeout as pause } from 'node:timers/promises'
import { slowness } from './slowness.ts'

/**
 * Resolves when `condition` holds; fails after `timeoutMs`, times the slowness of the machine, and names the awaited condition. Waits
 * for a fact, never for a time.
 */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 30_000,
): Promise<void> {
  const begun = performance.now()
  let limitMs = timeoutMs
  while (!(await condition())) {
    if (performance.now() - begun > limitMs) {
      limitMs = timeoutMs * (await slowness())
      if (performance.now() - begun > limitMs) throw new Error(`timed out after ${timeoutMs} ms waiting until ${what}`)
    }
    await pause(5)
  }
}

/** A promise with its handles outside. */
export function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}
