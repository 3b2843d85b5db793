// oxlint-disable no-restricted-imports -- inside of the command line: `lag` without a process of its own
/** Groups of the log in a database, as the command line sees them. */
import type { Operator } from '@concordat/cli'
import { createBinder, defineChannel } from 'concordat/binder'
import type { SqlClient } from 'concordat/core'
import { pgliteClient } from 'concordat/core/pglite'
import { postgresTransport } from 'concordat/postgres'
import { onTestFinished } from 'vitest'
import { z } from 'zod'
import type { Invocation } from '../../../packages/cli/commands/command.ts'
import { LAG_COMMANDS } from '../../../packages/cli/commands/lag.ts'
import { freshPglite } from '../../support/pglite.ts'

export const place = { channel: 'orders.placed', group: 'stock', partitions: 1 }

/** A database of its own: the log is looked for in all of it. */
export async function database(): Promise<SqlClient> {
  const opened = freshPglite()
  onTestFinished(() => opened.close())
  await opened.waitReady
  return pgliteClient(opened)
}

/** A database whose log has the group `stock` of a channel, which has read everything. */
export async function withLog(channel = place.channel): Promise<SqlClient> {
  const sql = await database()
  const orders = defineChannel(channel, { payload: z.object({}), partitions: 1, groups: ['stock'] })
  const binder = createBinder({ service: 'shop', transport: postgresTransport({ sql }), sends: [orders] })
  await binder.start()
  await binder.close()
  return sql
}

/** `lag` with these arguments. */
export const lagOf = (operator: Operator, ...positionals: readonly string[]) =>
  LAG_COMMANDS[0]?.run({ positionals, values: {}, env: {}, operator: async () => operator } as unknown as Invocation)

/** The lines of doctor on groups and their dead letters. */
export const groupsOf = async (operator: Operator, places?: readonly (typeof place)[]) => {
  const { status, lines } = await operator.doctor({ places })
  const said = lines.filter(({ check }) => check === 'groups' || check === 'letters')
  return { status, said: said.map((line) => `${line.status} ${line.text}`), remedies: said.map(({ remedy }) => remedy) }
}
