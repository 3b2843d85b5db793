/** The classic group protocol. */
import { errorName, requireSuccess } from './errors.ts'
import type { Request } from './request-codec.ts'

/** A member's place: which term of the group it belongs to. */
export interface MemberGeneration {
  readonly groupId: string
  readonly memberId: string
  readonly generation: number
}

export interface JoinSpec {
  readonly groupId: string
  readonly memberId: string
  readonly sessionTimeoutMs: number
  readonly rebalanceTimeoutMs: number
  readonly protocol: string
  readonly subscription: Buffer
}

export interface JoinAnswer {
  /** The protocol's name of what went wrong. */
  readonly error: string | undefined
  readonly generation: number
  /** Also set with MEMBER_ID_REQUIRED: the next join repeats it. */
  readonly memberId: string
  /** All members, if this one leads; otherwise empty. */
  readonly members: ReadonlyArray<{ readonly memberId: string; readonly subscription: Buffer }>
  readonly isLeader: boolean
}

export function joinGroup(spec: JoinSpec): Request<JoinAnswer> {
  return {
    apiKey: 11,
    apiVersion: 5,
    name: 'JoinGroup',
    write(to) {
      to.string(spec.groupId).int32(spec.sessionTimeoutMs).int32(spec.rebalanceTimeoutMs)
      to.string(spec.memberId).string(null).string('consumer')
      to.array([spec], () => to.string(spec.protocol).bytesField(spec.subscription))
    },
    read(from) {
      from.int32()
      const error = errorName(from.int16())
      const generation = from.int32()
      from.string()
      const leader = from.string()
      const memberId = from.string()
      const members = from.array(() => {
        const memberId = from.string()
        from.nullableString()
        return { memberId, subscription: from.bytesField() }
      })
      return { error, generation, memberId, members, isLeader: leader === memberId }
    },
  }
}

/** Resolves with this member's share. @throws KafkaRefusal */
export function syncGroup(
  { groupId, memberId, generation }: MemberGeneration,
  shares: ReadonlyArray<{ readonly memberId: string; readonly memberAssignment: Buffer }>,
): Request<Buffer> {
  return {
    apiKey: 14,
    apiVersion: 3,
    name: 'SyncGroup',
    write(to) {
      to.string(groupId).int32(generation).string(memberId).string(null)
      to.array(shares, (share) => to.string(share.memberId).bytesField(share.memberAssignment))
    },
    read(from) {
      from.int32()
      requireSuccess(from.int16(), `group "${groupId}" has no share`)
      return from.bytesField()
    },
  }
}

/** @throws KafkaRefusal */
export function heartbeat({ groupId, memberId, generation }: MemberGeneration): Request<void> {
  return {
    apiKey: 12,
    apiVersion: 3,
    name: 'Heartbeat',
    write(to) {
      to.string(groupId).int32(generation).string(memberId).string(null)
    },
    read(from) {
      from.int32()
      requireSuccess(from.int16(), `a heartbeat to group "${groupId}" was refused`)
    },
  }
}

/** @throws KafkaRefusal */
export function leaveGroup(groupId: string, memberId: string): Request<void> {
  return {
    apiKey: 13,
    apiVersion: 2,
    name: 'LeaveGroup',
    write(to) {
      to.string(groupId).string(memberId)
    },
    read(from) {
      from.int32()
      requireSuccess(from.int16(), `group "${groupId}" was not left`)
    },
  }
}

/** @throws KafkaRefusal */
export function deleteGroup(groupId: string): Request<void> {
  return {
    apiKey: 42,
    apiVersion: 1,
    name: 'DeleteGroups',
    write(to) {
      to.array([groupId], (each) => to.string(each))
    },
    read(from) {
      from.int32()
      const codes = from.array(() => {
        from.string()
        return from.int16()
      })
      for (const code of codes) requireSuccess(code, `group "${groupId}" was not deleted`)
    },
  }
}
