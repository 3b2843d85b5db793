/** Machines of Seata's state language, and the expressions in them. */
import { importStateMachine } from '@concordat/state-language'
import { hostileJson, hostileJsonText, hostileText } from '../hostile.ts'
import { parseExpression } from '../inside.ts'
import { Broken, isWrongArgument, target } from '../target.ts'

const MACHINE = {
  Name: 'buy',
  Version: '1',
  StartState: 'Reduce',
  States: {
    Reduce: {
      Type: 'ServiceTask',
      ServiceName: 'stock',
      ServiceMethod: 'reduce',
      CompensateState: 'Undo',
      Next: 'Choose',
      Input: ['$.[id]', { n: '$.[count] + 1' }],
      Output: { left: '$.#root' },
      Status: { '#root == true': 'SU', '$Exception{java.lang.Throwable}': 'UN' },
      Retry: [{ Exceptions: ['E'], IntervalSeconds: 1, MaxAttempts: 3, BackoffRate: 1.5 }],
      Catch: [{ Exceptions: ['E'], Next: 'Trigger' }],
      Loop: {
        Parallel: 2,
        Collection: '$.[list]',
        ElementVariableName: 'e',
        CompletionCondition: '[nrOfInstances] == [nrOfCompletedInstances]',
      },
    },
    Undo: { Type: 'ServiceTask', ServiceName: 'stock', ServiceMethod: 'undo' },
    Choose: {
      Type: 'Choice',
      Choices: [{ Expression: '[left] == true and not ([n] > 2) or [s]?.size() eq 3', Next: 'Done' }],
      Default: 'No',
    },
    Trigger: { Type: 'CompensationTrigger', Next: 'No' },
    Done: { Type: 'Succeed' },
    No: { Type: 'Fail', ErrorCode: 'NO', Message: 'no' },
  },
}
const services = { stock: { reduce: () => true, undo: () => true } }

export const stateMachine = target({
  name: 'state-machine',
  about: 'importStateMachine: a machine as text or parsed',
  input: (tape) => (tape.once(3) ? hostileJson(tape, MACHINE) : hostileJsonText(tape, MACHINE)),
  run: (json) => void importStateMachine(json, { services }),
  // The path may have any name of the machine in it.
  refuses: (error) => isWrongArgument(error) || /^importStateMachine[.(][^]*: (?!.*call stack)/.test(error.message),
})

const EXPRESSIONS = [
  "[a].b?.c[0] == 'x' and not ([n] + 1 > 2 * 3) ? #root : [list].size() ?: 'none'",
  '[list].contains([a]) || [a].equals(#this)',
  "- - -1 + 'it''s' % 2",
  '[a][b][c]',
  "[s].startsWith('x') && [s].endsWith(\"y\") && [m].containsKey('k')",
]
const ROOT = { a: { b: { c: ['x'] } }, n: 3, list: [1, { z: 1 }], s: 'xy', m: { k: null } }

export const expression = target({
  name: 'expression',
  about: 'an expression of a machine, and what it makes of any values',
  input: (tape) => ({ source: hostileText(tape, ...EXPRESSIONS), root: hostileJson(tape, ROOT) }),
  run({ source, root }) {
    const read = parsed(source)
    if (read === undefined) return
    const found = read(root)
    if (typeof found === 'function') throw new Broken('it gives a function away')
    if (found === Object.prototype || found === Array.prototype) throw new Broken('it gives a prototype away')
  },
  // Values that do not fit: the state fails with it, as in the original.
  refuses: (error) => error instanceof TypeError && / takes | is of | of null$/.test(error.message),
})

/** `undefined`: the parser refuses it with a message and a position, which the import prefixes with its path. */
function parsed(source: string): ReturnType<typeof parseExpression> | undefined {
  try {
    return parseExpression(source)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
