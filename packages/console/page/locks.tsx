/** Holders of locks and waiters. */

import { counted } from '@concordat/cli/words'
import { useState } from 'preact/hooks'
import type { LockInfo } from '../engine-types.ts'
import { Act, type Order } from './action-dialog.tsx'
import { get } from './api.ts'
import { Ago, Badge, Cut, Field, lasting, Panel, Table, Trouble } from './ui-components.tsx'
import { useLoaded } from './use-loaded.ts'

const MOST = 200

export function Locks() {
  const [prefix, setPrefix] = useState('')
  // A list walks through the store, so not more often.
  const { data, problem, again } = useLoaded(
    `locks ${prefix}`,
    () => get<readonly LockInfo[]>('locks', { prefix, limit: MOST }),
    5_000,
  )
  return (
    <Panel
      title="Held and waited for"
      aside={
        data !== undefined && <small>{data.length < MOST ? counted(data.length, 'key') : `${MOST} keys or more`}</small>
      }
    >
      <form class="filters" onSubmit={(e) => e.preventDefault()}>
        <Field label="Key begins with">
          <input value={prefix} onChange={(e) => setPrefix(e.currentTarget.value.trim())} autoComplete="off" />
        </Field>
      </form>
      {problem !== undefined && <Trouble problem={problem} again={again} />}
      {data !== undefined && (
        <Table
          label="Locks"
          rows={data}
          keyOf={({ key }) => key}
          empty="No lock is held."
          columns={[
            { head: 'Key', cell: ({ key }) => <code>{key}</code> },
            { head: 'Held by', cell: ({ holders }) => <Holders holders={holders} /> },
            {
              head: 'In line',
              cell: ({ waiters }) =>
                waiters.length === 0 ? (
                  '-'
                ) : (
                  <ol class="line">
                    {waiters.map(({ owner, mode }, n) => (
                      <li key={n}>
                        {owner} <small class="quiet">{mode}</small>
                      </li>
                    ))}
                  </ol>
                ),
            },
            { head: 'Settle', cell: ({ key, holders }) => <Release lock={key} holders={holders} after={again} /> },
          ]}
        />
      )}
      <Cut rows={data} most={MOST} how=": give the beginning of a key" />
    </Panel>
  )
}

function Holders({ holders }: Pick<LockInfo, 'holders'>) {
  if (holders.length === 0) return <span class="quiet">not held</span>
  return (
    <ul class="line">
      {holders.map(({ owner, token, mode, sinceAt, expiresInMs }) => (
        <li key={token}>
          <b>{owner}</b> <small class="quiet">{mode}</small> token <code>{token}</code>, since <Ago at={sinceAt} />{' '}
          {expiresInMs > 0 ? <small>ends in {lasting(expiresInMs)}</small> : <Badge is="over" tone="quiet" />}
        </li>
      ))}
    </ul>
  )
}

function Release({ lock, holders, after }: { lock: string; holders: LockInfo['holders']; after: () => void }) {
  const order = (): Order => ({
    title: 'Release the lock',
    about: (
      <p>
        Ends the leases of <code>{lock}</code> that are shown. A holder that cannot be told goes on until its next
        renewal; its fenced writes fail once the fence has seen a later token.
      </p>
    ),
    route: 'lock',
    body: { key: lock, tokens: holders.map(({ token }) => token) },
    danger: true,
    typed: lock,
    after,
  })
  return (
    <Act action="lock.release" small order={order}>
      Release
    </Act>
  )
}
