/** Answer to a failed request. */
import type { Channel } from '../channel/channel.ts'
import type { EncodedMessage } from '../channel/message.ts'

/** Answer to a failed request. */
export interface Answer {
  readonly message: EncodedMessage
  /** Channel with the settings of its destination. */
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
