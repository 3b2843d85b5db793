import type { Order, Place } from './orders.ts'

/** A worker's work in one episode. */
export interface Work {
  go(): void
  holdOff(): void
  linger(lingers: boolean): void
  stop(): Promise<void>
  close(): Promise<void>
  note(op: string, error?: unknown): void
}

/** Main loop of a worker process: obeys orders until the parent has ended. */
export function serve(open: (place: Place, settings: unknown) => Work): void {
  let work: Work | undefined
  const obey = async (order: Order): Promise<void> => {
    switch (order.do) {
      case 'open':
        work = open(order.place, order.settings)
        return work.note('opened')
      case 'go':
        return work?.go()
      case 'hold off':
        return work?.holdOff()
      case 'linger':
      case 'leave':
        return work?.linger(order.do === 'linger')
      case 'block': {
        work?.note('blocks')
        const until = performance.now() + order.ms
        while (performance.now() < until);
        return
      }
      case 'stop':
        return work?.stop()
      case 'close':
        await work?.close()
        work = undefined
        return
      default:
        order satisfies never
    }
  }
  process.on('message', (order: Order) => {
    obey(order).catch((error: unknown) => work?.note('stray error', error))
  })
  process.on('unhandledRejection', (error) => work?.note('stray error', error))
  process.on('disconnect', () => process.exit())
}
