/** Time limit of a service call. */

/** Error of a service that exceeds the time limit: a read timeout. */
export class ServiceTimeout extends Error {
  override readonly name = 'SocketTimeoutException'
}

export interface CallLimit {
  /** Rejects at the end of the time limit. */
  readonly passed: Promise<never>
  cancel(): void
}

export function callSignal(calls: string, timeoutMs: number): CallLimit {
  const { promise, reject } = Promise.withResolvers<never>()
  promise.catch(() => {})
  const timer = setTimeout(
    () => reject(new ServiceTimeout(`${calls} did not answer within ${timeoutMs} ms`)),
    timeoutMs,
  )
  return { passed: promise, cancel: () => clearTimeout(timer) }
}
