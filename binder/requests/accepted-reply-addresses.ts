import { show } from '../../core/errors.ts'
import type { Headers } from '../channel/message.ts'
import { TerminalError } from '../errors.ts'
import { MAX_REPLY_PLACE, REPLY_TO, REQUEST_ID } from './request-reply-format.ts'

/** Maximum number of services that one responder answers, because each has its own destination on the broker. */
const MAX_ASKERS = 100

/**
 * Destinations of a responder's answers, limited in number: requesters must not be able to create arbitrarily many destinations.
 */
export class AcceptedReplyAddresses {
  readonly #replies: string
  readonly #known = new Set<string>()

  /** @param replies name of the reply channel */
  constructor(replies: string) {
    this.#replies = replies
  }

  /**
   * Returns the reply address of a request; `undefined` when no reply is awaited.
   * @throws TerminalError as `replyAddress` does, and when there are too many requesters
   */
  address(headers: Headers): ReturnType<typeof replyAddress> {
    const address = replyAddress(headers, this.#replies)
    if (address === undefined || this.#known.has(address.to)) return address
    if (this.#known.size >= MAX_ASKERS) {
      throw new TerminalError(
        `a request wants its answer at ${show(address.to)}: expected one of the ${MAX_ASKERS} services that this responder has answered since its start. Look for a program that makes up names, or run a second responder.`,
      )
    }
    this.#known.add(address.to)
    return address
  }

  /** Returns the reply address of a request that has already failed. */
  addressOrNone(headers: Headers): ReturnType<typeof replyAddress> {
    try {
      return this.address(headers)
    } catch {
      return undefined
    }
  }
}

/**
 * Returns the reply address of a request; `undefined` when no reply is awaited.
 * @throws TerminalError when the address is not a destination for these replies: a requester cannot have them sent elsewhere
 */
function replyAddress(headers: Headers, replies: string): { readonly to: string; readonly id: string } | undefined {
  const { [REPLY_TO]: to, [REQUEST_ID]: id } = headers
  if (to === undefined || to === null) return undefined
  const prefix = `${replies}.`
  if (
    typeof to === 'string' &&
    to.length <= MAX_REPLY_PLACE &&
    to.startsWith(prefix) &&
    /^[\w.-]+$/.test(to) &&
    typeof id === 'string'
  )
    return { to, id }
  throw new TerminalError(
    `a request wants its answer at ${show(to)} for ${show(id)}: expected "${prefix}<service>" and a text in ${REQUEST_ID}`,
  )
}
