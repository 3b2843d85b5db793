/** Overview: waiting decisions first, then every binding and its rates. */
import type { ComponentChildren } from 'preact'
import type { Snapshot } from '../snapshot.ts'
import { Bindings } from './bindings.tsx'
import { MOST_LEADERS } from './cluster.tsx'
import { type LettersSeen, lettersIn, useLive } from './live.ts'
import { count, isMost, lasting, Spark, type Tone } from './ui-components.tsx'

export function Overview() {
  return (
    <>
      <Cards />
      <Bindings />
    </>
  )
}

function Cards() {
  const live = useLive()
  const { snapshot } = live
  const { sagas, outbox, leaders, members, instances } = snapshot
  return (
    <div class="cards">
      <Card
        href="#/sagas?status=stuck"
        label="stuck sagas"
        value={sagas?.data?.stuck}
        isCut={isMost(sagas?.data?.stuck)}
        tone={(sagas?.data?.stuck ?? 0) > 0 ? 'bad' : 'good'}
        problem={sagas?.problem}
      />
      <LettersCard snapshot={snapshot} />
      <Card
        href="#/outbox"
        label="parked messages"
        value={outbox?.data?.parked}
        tone={(outbox?.data?.parked ?? 0) > 0 ? 'bad' : 'good'}
        problem={outbox?.problem}
      />
      <Card
        href="#/outbox"
        label={
          (outbox?.data?.oldestAgeMs ?? 0) > 0
            ? `pending, oldest ${lasting(outbox?.data?.oldestAgeMs ?? 0)}`
            : 'pending in the outbox'
        }
        value={outbox?.data?.pending}
        isCut={isMost(outbox?.data?.pending)}
        tone={(outbox?.data?.oldestAgeMs ?? 0) > 60_000 ? 'warn' : 'info'}
        problem={outbox?.problem}
      >
        <Spark of={live.history('outbox')} label="pending, the last minutes" />
      </Card>
      <Card
        href="#/sagas?status=running"
        label="sagas under way"
        value={sagas?.data === undefined ? undefined : sagas.data.running + sagas.data.compensating}
        isCut={isMost(sagas?.data?.running) || isMost(sagas?.data?.compensating)}
        tone="info"
        problem={sagas?.problem}
      >
        <Spark of={live.history('sagas')} label="sagas under way, the last minutes" />
      </Card>
      <InstancesCard part={instances} />
      <LeadersCard part={leaders} />
      {(members?.data?.length ?? 0) > 0 && (
        <Card
          href="#/cluster"
          label="members"
          value={members?.data?.reduce((sum, each) => sum + each.members.length, 0)}
          tone="info"
          problem={members?.problem}
        />
      )}
    </div>
  )
}

function LeadersCard({ part }: { part: Snapshot['leaders'] }) {
  const led = part?.data?.length
  const isCut = led !== undefined && led >= MOST_LEADERS
  return <Card href="#/cluster" label="roles led" value={led} isCut={isCut} tone="info" problem={part?.problem} />
}

function LettersCard({ snapshot }: { snapshot: Snapshot }) {
  const letters = lettersIn(snapshot)
  return (
    <Card
      href="#/letters"
      label={`dead letters${uncounted(letters)}`}
      value={letters.count}
      isCut={letters.isCut}
      tone={toneOf(letters)}
      problem={snapshot.letters?.problem}
    />
  )
}

function uncounted({ uncounted: groups, isPartial }: LettersSeen): string {
  if (isPartial) return '; not every group counted'
  return groups > 0 ? `; ${groups} groups not counted` : ''
}

/** Green only when every group was counted. */
function toneOf({ count: letters, uncounted: groups, isPartial }: LettersSeen): Tone {
  if (letters === undefined) return 'quiet'
  if (letters > 0) return 'bad'
  return groups > 0 || isPartial ? 'warn' : 'good'
}

const UNHEARD = {
  code: 'console.instances_unknown',
  message:
    'unknown: no instance reports over a bus. Give the services a bus; one that is signed needs its secret here as well',
}

function InstancesCard({ part }: { part: Snapshot['instances'] }) {
  const all = part?.data?.instances ?? []
  if (part === undefined) return null
  return (
    <Card
      href="#/instances"
      label={all.length === 1 ? 'instance on the bus' : 'instances on the bus'}
      value={all.length}
      tone={all.some(({ notRunning }) => notRunning.length > 0) ? 'warn' : 'good'}
      problem={
        all.length === 0 && (part.problem === undefined || /missing/.test(part.problem.code)) ? UNHEARD : part.problem
      }
    />
  )
}

const UNKNOWN: Readonly<Record<string, string>> = {
  'console.groups_unknown': 'unknown: no group is known here',
  'console.instances_unknown': 'unknown: none reports over a bus',
}

function Card(props: {
  href: string
  label: string
  value: number | undefined
  /** Counting stopped at this number. */
  isCut?: boolean
  tone: Tone
  problem?: { readonly code: string; readonly message: string } | undefined
  children?: ComponentChildren
}) {
  const isAway = props.problem !== undefined
  const unknown = UNKNOWN[props.problem?.code ?? '']
  const isAbsent = unknown !== undefined || /missing/.test(props.problem?.code ?? '')
  return (
    <a
      class={`card ${isAway ? (isAbsent ? 'quiet' : 'bad') : props.tone}`}
      href={props.href}
      title={props.problem?.message}
    >
      <b>{isAbsent ? '-' : count(props.value, props.isCut)}</b>
      <span>{props.label}</span>
      {unknown !== undefined ? (
        <small>{unknown}</small>
      ) : isAbsent ? (
        <small>not set up here</small>
      ) : isAway ? (
        <small>no answer now</small>
      ) : (
        props.children
      )}
    </a>
  )
}
