import type { Defect } from './defect.ts'

export const BINDER: Readonly<Record<string, Defect>> = {
  'binder/1': {
    about: 'a rebalance while the circuit is open turns round the order of a key',
    workload: 'flows',
    patches: [
      {
        file: 'binder/consuming/consumer.ts',
        find: 'if (this.#pace === undefined) this.giveBack()\n    else void this.#recallInOrder(this.#pace, this.#run)',
        put: 'this.giveBack()\n    this.#pace?.dismiss()',
      },
    ],
  },
  'binder/2': {
    about: 'a poll that meets a pause keeps its place in the group for good',
    workload: 'flows',
    patches: [
      {
        file: 'binder/consuming/puller.ts',
        find: 'if (!(await this.#mayGoOn(waitMs, signal))) return false\n    this.#cancelLeaving?.()',
        put: 'this.#cancelLeaving?.()\n    if (!(await this.#mayGoOn(waitMs, signal))) return false',
      },
    ],
  },
  'binder/3': {
    about: 'a dry run of a redrive over several brokers looks at the wrong one, and finds nothing',
    workload: 'flows',
    patches: [
      {
        file: 'binder/redrive/places.ts',
        find: '{ ...deadLetterSpec(name, group), ...found }',
        put: '{ ...deadLetterSpec(name, group), asFound: true }',
      },
    ],
  },
}
