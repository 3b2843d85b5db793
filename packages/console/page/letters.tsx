/** Dead letters of a group, grouped by their error, and the actions on them. */

import type { DeadLetterPlace } from '@concordat/cli'
import { failureName } from '@concordat/cli/words'
import { useContext, useEffect, useState } from 'preact/hooks'
import type { RedriveReport } from '../engine-types.ts'
import type { DeadLetterView, PayloadView } from '../redacted-views.ts'
import { Act, AskContext, type Order, useMay } from './action-dialog.tsx'
import { get, post, Refused } from './api.ts'
import { queryInHash } from './hash-query.ts'
import { lettersOf, useLive } from './live.ts'
import { PartialGroups } from './partial-groups.tsx'
import { Redrives } from './redrives.tsx'
import { Ago, Badge, Button, Copy, count, Field, Json, Panel, Table, type Tone, Trouble } from './ui-components.tsx'
import { type Loaded, useLoaded } from './use-loaded.ts'

interface Page {
  readonly count?: number | undefined
  readonly letters: readonly DeadLetterView[]
  readonly next: string | null
}

const PAGE = 50

export function Letters() {
  const places = useLoaded('places', () => get<readonly DeadLetterPlace[]>('places'))
  const [chosen, setChosen] = useState<DeadLetterPlace>()
  const may = useMay('letters.look')
  useEffect(() => {
    const choose = (): void => {
      const asked = queryInHash()
      const found = places.data?.find(
        ({ channel, group }) => channel === asked.get('channel') && group === asked.get('group'),
      )
      if (found !== undefined) setChosen(found)
    }
    choose()
    window.addEventListener('hashchange', choose)
    return () => window.removeEventListener('hashchange', choose)
  }, [places.data])
  return (
    <>
      <Redrives />
      <Groups places={places} choose={setChosen} />
      {!may && (
        <p class="note">
          You see counts only. A look at the letters takes the place of their group and a broker may count it as a
          delivery, so that it has to be allowed: <code>letters.look</code>.
        </p>
      )}
      {may && chosen !== undefined && <Place place={chosen} key={`${chosen.channel}.${chosen.group}`} />}
    </>
  )
}

const NO_GROUPS =
  'Unknown: no group is known here. Start the console with a file that exports your services ' +
  '(npx concordat console concordat.config.ts), or let the services join the bus.'

function Groups({
  places,
  choose,
}: {
  places: Loaded<readonly DeadLetterPlace[]>
  choose: (place: DeadLetterPlace) => void
}) {
  const { snapshot } = useLive()
  const may = useMay('letters.look')
  const sorted = (places.data ?? [])
    .map((place) => ({ ...place, dead: lettersOf(snapshot, place) }))
    .sort((a, b) => (b.dead.count ?? 0) - (a.dead.count ?? 0))
  return (
    <Panel title="Groups">
      {places.problem !== undefined && <Trouble problem={places.problem} again={places.again} />}
      <PartialGroups />
      <Table
        label="Groups"
        rows={sorted}
        keyOf={({ channel, group }) => `${channel}:${group}`}
        empty={places.data === undefined ? 'Looking for groups...' : NO_GROUPS}
        columns={[
          {
            head: 'Channel and group',
            cell: (place) => (
              <>
                <code>{place.channel}</code> <span class="group">{place.group}</span>
              </>
            ),
          },
          {
            head: 'Dead letters',
            number: true,
            cell: ({ dead }) => (
              <Badge is="n" tone={toneOf(dead.count)}>
                {count(dead.count, dead.isCut)}
              </Badge>
            ),
          },
          {
            head: 'Look',
            cell: (place) => (
              <Button
                class="small"
                disabled={!may}
                onClick={() => choose(place)}
                aria-label={`Look at the dead letters of ${place.group} on ${place.channel}`}
              >
                Look
              </Button>
            ),
          },
        ]}
      />
    </Panel>
  )
}

function toneOf(letters: number | undefined): Tone {
  if (letters === undefined) return 'quiet'
  return letters > 0 ? 'bad' : 'good'
}

function Place({ place }: { place: DeadLetterPlace }) {
  const [limit, setLimit] = useState(100)
  const [code, setCode] = useState('')
  const [from, setFrom] = useState(0)
  /** `next` of the pages before this one. */
  const [before, setBefore] = useState<readonly string[]>([])
  const { channel, group, partitions } = place
  const query = { channel, group, partitions, limit, code, after: before.at(-1) }
  const { data, problem, busy, again } = useLoaded(JSON.stringify(query), () => post<Page>('look', query))
  const letters = data?.letters ?? []
  return (
    <Panel
      title={`${channel} / ${group}`}
      id="letters-of"
      aside={<small>{busy ? 'reading through them...' : `${letters.length} of ${count(data?.count)}`}</small>}
    >
      <p class="note">
        A look reads through the letters, up to 1 000 a page, in the place of their group. It is done when you ask for
        it, not live.
      </p>
      <form class="filters" onSubmit={(e) => e.preventDefault()}>
        <Field label="Error code">
          <input
            value={code}
            onChange={(e) => (setCode(e.currentTarget.value.trim()), setFrom(0), setBefore([]))}
            autoComplete="off"
          />
        </Field>
        <Field label="At most">
          <select value={limit} onChange={(e) => (setLimit(Number(e.currentTarget.value)), setFrom(0), setBefore([]))}>
            {[100, 500, 1_000].map((n) => (
              <option value={n} key={n}>
                {n}
              </option>
            ))}
          </select>
        </Field>
        <Button onClick={again}>Look again</Button>
      </form>
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <>
          <Kinds letters={letters} place={place} after={again} />
          <List letters={letters.slice(from, from + PAGE)} place={place} after={again} />
          <Pager from={from} of={letters.length} turn={setFrom} />
          <LookPager before={before} next={data.next} turn={(to) => (setBefore(to), setFrom(0))} />
        </>
      )}
    </Panel>
  )
}

function Pager({ from, of, turn }: { from: number; of: number; turn: (from: number) => void }) {
  if (of <= PAGE) return null
  return (
    <div class="pager">
      <Button disabled={from === 0} onClick={() => turn(from - PAGE)}>
        Previous
      </Button>
      <span>
        {from + 1} to {Math.min(from + PAGE, of)} of {of}
      </span>
      <Button disabled={from + PAGE >= of} onClick={() => turn(from + PAGE)}>
        Next
      </Button>
    </div>
  )
}

/** Pages of dead letters: each page reads the next ones. */
function LookPager({
  before,
  next,
  turn,
}: {
  before: readonly string[]
  next: string | null
  turn: (before: readonly string[]) => void
}) {
  if (before.length === 0 && next === null) return null
  return (
    <div class="pager">
      <Button disabled={before.length === 0} onClick={() => turn(before.slice(0, -1))}>
        Earlier letters
      </Button>
      <span>look {before.length + 1}</span>
      <Button disabled={next === null} onClick={() => next !== null && turn([...before, next])}>
        Later letters
      </Button>
    </div>
  )
}

interface Kind {
  readonly code: string | undefined
  readonly name: string | undefined
  readonly letters: readonly DeadLetterView[]
}

/** Messages with the same error are settled together. */
function Kinds({
  letters,
  place,
  after,
}: {
  letters: readonly DeadLetterView[]
  place: DeadLetterPlace
  after: () => void
}) {
  const kinds = new Map<string, Kind>()
  for (const letter of letters) {
    const { code, name } = letter.error
    const key = `${code} ${name}`
    kinds.set(key, { code, name, letters: [...(kinds.get(key)?.letters ?? []), letter] })
  }
  const rows = [...kinds.values()].sort((a, b) => b.letters.length - a.letters.length)
  const times = (kind: Kind): number[] => kind.letters.flatMap(({ failedAt }) => failedAt ?? [])
  return (
    <Table
      label="By error"
      rows={rows}
      keyOf={({ code, name }) => `${code} ${name}`}
      empty="None lies there."
      columns={[
        { head: 'Error', cell: ({ code, name }) => <code>{code ?? name ?? 'unknown'}</code> },
        { head: 'Letters', number: true, cell: (kind) => kind.letters.length },
        { head: 'First', number: true, cell: (kind) => <Ago at={Math.min(...times(kind)) || undefined} /> },
        { head: 'Last', number: true, cell: (kind) => <Ago at={Math.max(...times(kind)) || undefined} /> },
        {
          head: 'Settle',
          cell: (kind) => <Settle place={place} ids={kind.letters.map(({ id }) => id)} after={after} />,
        },
      ]}
    />
  )
}

/** Settles only letters that are shown. Makes a dry run first: some may have been settled since the list was read. */
function Settle({ place, ids, after }: { place: DeadLetterPlace; ids: readonly string[]; after: () => void }) {
  const ask = useContext(AskContext)
  const may = useMay('letters.redrive')
  const [problem, setProblem] = useState<Refused>()
  const { channel, group, partitions } = place
  const body = { channel, group, partitions, among: ids, limit: ids.length }
  const redrive = async (): Promise<void> => {
    setProblem(undefined)
    try {
      const { letters, to } = await post<RedriveReport>('letters', { ...body, do: 'redrive', reason: 'a look before' })
      ask({
        title: `Redrive ${letters.length}`,
        about: (
          <p>
            The dry run found {letters.length}.{' '}
            {to === 'group' ? (
              <>
                They go back to <code>{place.group}</code> alone.
              </>
            ) : (
              <>
                They go back to every group of <code>{place.channel}</code>; groups with an inbox leave out what they
                have had.
              </>
            )}
          </p>
        ),
        route: 'letters',
        body: { ...body, do: 'redrive', to, dryRun: false },
        told: (result) => `${(result as RedriveReport).sent} sent back, ${(result as RedriveReport).kept} kept`,
        after,
      })
    } catch (error) {
      if (error instanceof Refused) setProblem(error)
    }
  }
  return (
    <span class="buttons left">
      {may && (
        <Button class="small" onClick={() => void redrive()}>
          Redrive...
        </Button>
      )}
      <Act action="letters.drop" small order={() => dropOrder(body, ids, after)}>
        Drop...
      </Act>
      {problem !== undefined && <Trouble problem={problem} />}
    </span>
  )
}

function dropOrder(body: Order['body'], ids: readonly string[], after: () => void): Order {
  const most = ids.length
  return {
    title: `Drop ${most}`,
    about: (
      <p>
        Gives {most === 1 ? 'this message' : `these ${most} messages`} up for good. Nothing of it is kept but the line
        in the audit.
      </p>
    ),
    route: 'letters',
    body: { ...body, do: 'drop', dryRun: false },
    danger: true,
    typed: most === 1 ? ids[0] : String(most),
    told: (result) => `${(result as RedriveReport).sent} dropped`,
    after,
  }
}

function List({
  letters,
  place,
  after,
}: {
  letters: readonly DeadLetterView[]
  place: DeadLetterPlace
  after: () => void
}) {
  return (
    <ul class="letters" aria-label="Dead letters">
      {letters.map((letter) => (
        <li key={letter.id}>
          <details>
            <summary>
              <code>{letter.id}</code>
              <span>{failureName(letter.error) ?? 'unknown'}</span>
              <span class="quiet">key {letter.key ?? '-'}</span>
              <Ago at={letter.failedAt} />
            </summary>
            <Letter letter={letter} place={place} after={after} />
          </details>
        </li>
      ))}
    </ul>
  )
}

function Letter({ letter, place, after }: { letter: DeadLetterView; place: DeadLetterPlace; after: () => void }) {
  const { id, error, attempts, position, service, bytes, contentType, headers } = letter
  return (
    <div class="letter">
      <p class="failure">
        {error.name}: {error.message}
      </p>
      <p class="facts">
        failed in {service ?? 'an unknown service'} after {attempts ?? '?'} calls, at {position ?? 'an unknown place'};{' '}
        {bytes} bytes of {contentType || 'an unknown kind'}
      </p>
      {error.stack !== undefined && <Json value={error.stack} />}
      <h3>Headers</h3>
      {Object.keys(headers).length === 0 ? <p class="empty">None.</p> : <Json value={headers} />}
      <Payload place={place} id={id} />
      <div class="buttons left">
        <Copy text={id} />
        <Settle place={place} ids={[id]} after={after} />
      </div>
    </div>
  )
}

function Payload({ place, id }: { place: DeadLetterPlace; id: string }) {
  const may = useMay('payloads')
  const [shown, setShown] = useState<PayloadView>()
  const [problem, setProblem] = useState<Refused>()
  const look = (): void => {
    post<PayloadView>('payload', { of: 'letter', ...place, id }).then(
      setShown,
      (error: unknown) => error instanceof Refused && setProblem(error),
    )
  }
  if (!may) return <p class="empty">The payload is hidden: you may not see payloads here.</p>
  return (
    <>
      <h3>Payload</h3>
      {shown === undefined && <Button onClick={look}>Show, and keep in the audit that I looked</Button>}
      {problem !== undefined && <Trouble problem={problem} />}
      {shown?.body !== undefined && (
        <>
          <Json value={shown.body.as === 'nothing' ? 'a tombstone: no payload' : shown.body.value} />
          {shown.body.cut && <p class="note">Only the beginning of {shown.body.bytes} bytes.</p>}
        </>
      )}
    </>
  )
}
