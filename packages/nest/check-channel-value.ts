import type { Channel } from 'concordat/binder'
import { hasMethods, invalidOption, wrongKind } from 'concordat/extension'
import type { ServiceOptions } from 'concordat/service'

/** A channel in the `sends` of a service. */
export type SentChannel = NonNullable<ServiceOptions['sends']>[number]

/** Checks a channel from `defineChannel`, of any copy of the package. @throws TypeError with the path */
export function requireChannel(path: string, value: unknown): Channel {
  const { schema, codec } = (value ?? {}) as Partial<Channel>
  if (hasMethods(schema?.['~standard'], ['validate']) && hasMethods(codec, ['encode', 'decode']))
    return value as Channel
  const expected = 'what defineChannel returned'
  throw typeof value === 'string' ? invalidOption(path, value, expected) : wrongKind(path, value, expected)
}
