/** The options of a window, checked. */
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireFunction } from '../../core/options.ts'
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
    name: checkName(`${path}.name`, name, 80),
    key: key as WindowSpec['key'],
    count: count === undefined ? undefined : requireInteger(`${path}.count`, count, 1, 1_000_000_000),
    everyMs: everyMs === undefined ? undefined : requireInteger(`${path}.everyMs`, everyMs, 1, MAX_DELAY_MS),
    initial: initial as WindowSpec['initial'],
    add: add as WindowSpec['add'],
  }
}
