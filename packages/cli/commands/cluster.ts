/** `members` and `state`: a cluster as its store has it. */
import { type Command, DATABASE_OPTIONS, type OptionSpecs, REDIS_OPTIONS, WATCH_OPTION } from './command.ts'
import { ago, table } from './output.ts'
import { only, several } from './values.ts'

const STORE: OptionSpecs = { ...REDIS_OPTIONS, ...DATABASE_OPTIONS }

const members: Command = {
  name: 'members',
  summary: 'lists the members of a cluster',
  takes: 'CLUSTER',
  options: { ...STORE, ...WATCH_OPTION },
  examples: ['npx concordat members shop', 'npx concordat members shop --json'],
  async run(invocation) {
    const cluster = only(invocation, 'CLUSTER')
    const found = await (await invocation.operator()).cluster.members(cluster)
    const rows = found.map(({ instance, service, group, status, generation, joinedAt, meta }) => [
      instance,
      service ?? '-',
      group ?? '-',
      status,
      String(generation),
      ago(joinedAt),
      JSON.stringify(meta),
    ])
    const head = ['INSTANCE', 'SERVICE', 'GROUP', 'STATUS', 'GENERATION', 'JOINED', 'META']
    return { text: `${table(head, rows)}\n`, json: { cluster, members: found } }
  },
}

const state: Command = {
  name: 'state',
  summary: 'shows a shared state of a cluster',
  takes: 'CLUSTER STATE',
  options: STORE,
  examples: ['npx concordat state shop prices', 'npx concordat state shop prices --json'],
  async run(invocation) {
    const [cluster, name] = several(invocation, ['CLUSTER', 'STATE'] as const)
    const entries = await (await invocation.operator()).cluster.state(cluster, name)
    const rows = entries.map(({ key, value, version, boundTo }) => [
      key,
      JSON.stringify(value),
      String(version),
      boundTo ?? '-',
    ])
    return {
      text: `${table(['KEY', 'VALUE', 'VERSION', 'BOUND TO'], rows)}\n`,
      json: { cluster, state: name, entries },
    }
  },
}

export const CLUSTER_COMMANDS: readonly Command[] = [members, state]
