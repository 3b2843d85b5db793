/** Commands of `npm run test:night` by section, as arguments of `npm run`. */

const SEEDS = '1..5'

export const SECTIONS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  /** All tests, with everything that a merge leaves out, and the long ones of a release. */
  tests: [['test', '--', '--reporter=default'], ['test:release'], ['test:platformatic']],
  faults: [
    ...['locks', 'locks --store postgres', 'election', 'election --store postgres', 'embedded'].map(faults),
    ...['rabbitmq', 'kafka', 'postgres'].map((broker) => faults(`saga --transport ${broker}`)),
    ...['tcc', 'xa', 'undo', 'code', 'mixed'].map((kind) => faults(`transactions --kind ${kind}`)),
    faults('binder'),
    faults('binder --transport postgres'),
  ],
  /** Three nodes of each broker. */
  clusters: [faults('cluster')],
  simulation: [
    ['sim', '--', '--minutes', '60'],
    ['sim', '--', '--mistakes', '--seed', '1', '--seeds', '200'],
    ['sim', '--', '--defects', '--seed', '1'],
  ],
  proof: [
    ...['rabbitmq', 'kafka', 'postgres'].map((broker) => ['proof', '--', '--transport', broker]),
    ['fuzz', '--', '--target', 'all', '--inputs', '100000'],
  ],
}

function faults(suite: string): readonly string[] {
  return ['faults', '--', ...suite.split(' '), '--seed', SEEDS]
}
