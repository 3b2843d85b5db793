/** Loads a view's data once, and again on demand. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Refused } from './api.ts'

export interface Loaded<T> {
  readonly data: T | undefined
  readonly problem: Refused | undefined
  readonly busy: boolean
  readonly again: () => void
}

/**
 * @param key loads again when it changes; `null` loads nothing
 * @param everyMs loads again this long after the last request, but not before its answer: otherwise the answers of a slow server would
 * never be shown
 */
export function useLoaded<T>(key: string | null, ask: () => Promise<T>, everyMs?: number): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; data?: T; problem?: Refused }>({ key })
  const [busy, setBusy] = useState(key !== null)
  const [turn, setTurn] = useState(0)
  const latest = useRef(ask)
  latest.current = ask
  const asked = useRef(false)
  useEffect(() => {
    if (key === null) return
    let gone = false
    asked.current = true
    setBusy(true)
    latest
      .current()
      .then(
        (data) => gone || setState({ key, data }),
        (error: unknown) =>
          gone ||
          setState((before) => ({
            key,
            ...(before.key === key && before.data !== undefined && { data: before.data }),
            problem: error instanceof Refused ? error : new Refused(0, 'console.failed', String(error)),
          })),
      )
      .finally(() => {
        if (gone) return
        asked.current = false
        setBusy(false)
      })
    return () => {
      gone = true
    }
  }, [key, turn])
  useEffect(() => {
    if (everyMs === undefined || key === null) return
    const timer = setInterval(() => document.hidden || asked.current || setTurn((n) => n + 1), everyMs)
    return () => clearInterval(timer)
  }, [everyMs, key])
  const isOurs = state.key === key
  return {
    data: isOurs ? state.data : undefined,
    problem: isOurs ? state.problem : undefined,
    busy,
    again: () => setTurn((n) => n + 1),
  }
}
