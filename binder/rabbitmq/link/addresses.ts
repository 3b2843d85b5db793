/** The address of a broker, or those of the nodes of a cluster. */
import type { AmqpConnection } from './amqplib-types.ts'

const HEARTBEAT_SECONDS = 10

/** Each with a heartbeat. Passwords are never shown. @throws TypeError */
export function resolveAddresses(url: unknown): readonly string[] {
  if (!Array.isArray(url)) return [withHeartbeat(url)]
  if (url.length === 0)
    throw new TypeError('rabbitTransport.url: expected one address for each node of the cluster, got an empty list')
  return url.map((address: unknown, n) => withHeartbeat(address, `rabbitTransport.url[${n}]`))
}

/** The address with a heartbeat. Its password is never shown. @throws TypeError */
export function withHeartbeat(url: unknown, path = 'rabbitTransport.url'): string {
  if (typeof url !== 'string' || !/^amqps?:\/\//.test(url) || !URL.canParse(url)) {
    const protocol = typeof url === 'string' ? /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] : undefined
    const got = protocol === undefined ? 'something else' : `something that begins with ${protocol}`
    throw new TypeError(`${path}: expected amqp://user:password@host:port/vhost or amqps://..., got ${got}`)
  }
  // amqplib would use the default one.
  if (new URL(url).port === '0')
    throw new TypeError(`${path}: expected amqp://... with a port from 1 to 65535, or none, got port 0`)
  if (new URL(url).searchParams.has('heartbeat')) return url
  return `${url}${url.includes('?') ? '&' : '?'}heartbeat=${HEARTBEAT_SECONDS}`
}

/** Time limit of an attempt to connect, and its clock. */
export interface Attempt {
  readonly timeoutMs: number
  /** Monotonic. @default performance.now */
  readonly now?: (() => number) | undefined
  /** 0 <= x < 1. @default Math.random */
  readonly random?: (() => number) | undefined
}

/**
 * Connects to one node after the other, starting with a random one, so that processes are distributed over them. A node that
 * refuses is skipped at once; a silent one takes the time of the attempt, and the next attempt starts with the next node. A lost
 * connection is therefore restored at another node.
 * @returns rejects with the error of the last node that was tried
 */
export function inTurn(
  addresses: readonly string[],
  open: (address: string, name: string) => Promise<AmqpConnection>,
  { timeoutMs, now = () => performance.now(), random = Math.random }: Attempt,
): (name: string) => Promise<AmqpConnection> {
  let next = Math.floor(random() * addresses.length)
  return async (name) => {
    const begun = now()
    for (let tried = 1; ; tried++) {
      const address = addresses[next++ % addresses.length] as string
      try {
        return await open(address, name)
      } catch (error) {
        if (tried === addresses.length || now() - begun >= timeoutMs) throw error
      }
    }
  }
}
