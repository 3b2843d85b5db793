/** The meaning of Redis replies and failures for the caller. */

/** Temporary replies: the server is loading, failing over, moving slots, busy, or out of memory. Nothing was changed. */
const RETRYABLE = [
  'LOADING',
  'MASTERDOWN',
  'READONLY',
  'CLUSTERDOWN',
  'TRYAGAIN',
  'MOVED',
  'ASK',
  'BUSY',
  'NOREPLICAS',
  'OOM',
  'MISCONF',
] as const

/** ioredis's messages for "not sent". */
const NOT_SENT = ["Stream isn't writeable", "Cluster isn't ready", 'Too many Cluster redirections'] as const

/**
 * - `retryable`: refused for now, nothing was changed. `refused`: refused permanently.
 * - `not_sent`: it was never sent. `no_answer`: it may have been executed, or may still be.
 */
export type FailureKind = 'retryable' | 'refused' | 'not_sent' | 'no_answer'

export function failureKind(error: unknown): FailureKind {
  if (!(error instanceof Error)) return 'no_answer'
  if (NOT_SENT.some((text) => error.message.startsWith(text))) return 'not_sent'
  if (error.name !== 'ReplyError') return 'no_answer'
  return RETRYABLE.some((code) => isReply(error, code)) ? 'retryable' : 'refused'
}

/** The server is a replica now and will say so permanently: another one is the master. */
export function isFromReplica(error: unknown): boolean {
  return isReply(error, 'READONLY') || isReply(error, 'MASTERDOWN')
}

/** Also for a reply inside a script: before Redis 7 it is wrapped in `ERR Error running script ... -READONLY ...`. */
export function isReply(error: unknown, code: string): boolean {
  if (!(error instanceof Error)) return false
  const { message } = error
  return (
    message.startsWith(`${code} `) ||
    message === code ||
    (message.startsWith('ERR Error running script') && message.includes(`-${code} `))
  )
}
