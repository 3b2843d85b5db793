/** What a request that failed is answered with. */
import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'

/** What a request that failed is answered with. */
export interface Answer {
  readonly message: EncodedMessage
  /** What its destination is made like. */
  readonly replies: Channel
  /** True: the request is settled with it. */
  readonly settles: boolean
}

export interface AnswerHost {
  readonly service: string
  readonly group: string | null
  /** Epoch ms. */
  readonly now: number
}
