/**
 * Set-up of the projects whose files share a process (`unit`, `prop`, `pglite`): a file that leaves state for the next
 * one fails, with the name of that state.
 */
import { afterAll, expect, vi } from 'vitest'

const EVENTS = ['unhandledRejection', 'uncaughtException', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const

export function shared(): Readonly<Record<string, unknown>> {
  return {
    'fake timers': vi.isFakeTimers(),
    'a mocked Math.random': vi.isMockFunction(Math.random),
    'a mocked Date.now': vi.isMockFunction(Date.now),
    'the environment': { ...process.env },
    'the folder': process.cwd(),
    'the exit code': process.exitCode,
    listeners: Object.fromEntries(EVENTS.map((event) => [event, process.listenerCount(event)])),
  }
}

const before = shared()
afterAll(() => expect(shared(), 'a file leaves the process as it found it').toEqual(before))
