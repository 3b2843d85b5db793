import { type EncodedMessage, TransportError } from 'concordat/binder'
import type { PublishOutcome } from 'concordat/extension'
import type { TransportErrorKind } from '../../support/inside/binder.ts'
import type { RelayPublisher } from '../../support/inside/outbox.ts'

/** Publisher that records the confirmed messages call by call, and fails on request. */
export class FakePublisher implements RelayPublisher {
  readonly calls: EncodedMessage[][] = []
  readonly confirmed: EncodedMessage[] = []
  readonly tries = new Map<string, number>()
  /** Decides each message; `undefined` confirms. */
  verdict: (message: EncodedMessage, tries: number) => TransportErrorKind | undefined = () => undefined
  /** Awaited before a call is answered. */
  before: (messages: readonly EncodedMessage[]) => Promise<void> = async () => {}

  async publish(messages: readonly EncodedMessage[]): Promise<readonly PublishOutcome[]> {
    await this.before(messages)
    this.calls.push([...messages])
    return messages.map((message) => this.#one(message))
  }

  /** The ids confirmed for one key, in order. */
  idsOf(key: string): string[] {
    return this.confirmed.filter((message) => message.key === key).map((message) => message.id)
  }

  get ids(): string[] {
    return this.confirmed.map((message) => message.id)
  }

  #one(message: EncodedMessage): PublishOutcome {
    const tries = (this.tries.get(message.id) ?? 0) + 1
    this.tries.set(message.id, tries)
    const kind = this.verdict(message, tries)
    if (kind === undefined) {
      this.confirmed.push(message)
      return undefined
    }
    return new TransportError({ transport: 'fake', kind, message: `${kind} on purpose` })
  }
}
