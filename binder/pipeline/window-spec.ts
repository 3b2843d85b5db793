/** Checks the options of a window. */
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireFunction } from '../../core/option-checks.ts'
import { checkName } from '../channel/channel.ts'
import { MAX_DELAY_MS } from '../channel/delay.ts'
import type { WindowFold } from './flow-options.ts'
import type { WindowSpec } from './stage.ts'

const NAMES = optionNames<WindowFold<unknown, unknown, unknown>>({
  name: true,
  key: true,
  count: true,
  everyMs: true,
  initial: true,
  add: true,
})

/** @throws TypeError / RangeError naming the option */
export function windowSpec(path: string, options: object): WindowSpec {
  refuseUnknown(path, options, NAMES)
  const { name = 'window', key, count, everyMs, initial, add } = options as Partial<WindowFold<never, never, never>>
  if (count === undefined && everyMs === undefined)
    throw invalidOption(`${path}.count`, count, 'count, everyMs or both: a window without an end gives nothing')
  if ((initial === undefined) !== (add === undefined))
    throw invalidOption(
      `${path}.${add === undefined ? 'add' : 'initial'}`,
      undefined,
      'a function: initial and add go together',
    )
  for (const [option, value] of Object.entries({ key, initial, add }))
    if (value !== undefined) requireFunction(`${path}.${option}`, value)
  return {
    name: checkWindowName(`${path}.name`, name),
    key: key as WindowSpec['key'],
    count: count === undefined ? undefined : requireInteger(`${path}.count`, count, 1, 1_000_000_000),
    everyMs: everyMs === undefined ? undefined : requireInteger(`${path}.everyMs`, everyMs, 1, MAX_DELAY_MS),
    initial: initial as WindowSpec['initial'],
    add: add as WindowSpec['add'],
  }
}

/** Its timers have the channel `<pipeline>.<window>.timers`, where the pipeline's name may contain dots. */
function checkWindowName(path: string, name: unknown): string {
  const checked = checkName(path, name, 80)
  if (checked.includes('.')) throw invalidOption(path, name, 'a name of 1 to 80 characters out of A-Z a-z 0-9 _ -')
  return checked
}
