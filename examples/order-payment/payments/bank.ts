/** The bank: an external system, here a stand-in that declines one card. */
export interface BankRequest {
  /** Idempotency key: a repeated request has the same key. */
  readonly key: string
  readonly customer: string
  readonly card: string
  readonly amountCents: number
}

export interface Bank {
  /**
   * Authorizes a payment. The bank accepts one request per customer at a time and rejects a second one.
   * @throws Error when the customer has a request in flight
   */
  authorize(request: BankRequest): Promise<'approved' | 'declined'>
}

const DECLINED_CARD = 'tok_declined'

export function standInBank(): Bank {
  const busy = new Set<string>()
  return {
    async authorize({ customer, card }) {
      if (busy.has(customer)) throw new Error(`bank: another request of customer "${customer}" is in flight`)
      busy.add(customer)
      await new Promise((resolve) => setImmediate(resolve))
      busy.delete(customer)
      return card === DECLINED_CARD ? 'declined' : 'approved'
    },
  }
}
