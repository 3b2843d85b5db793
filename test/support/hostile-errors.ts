/** Values that a handler may throw: some cannot be read, others are no errors. */

const refuses = (name: string): (() => never) => {
  return () => {
    throw new Error(`the getter of ${name}`)
  }
}
const getter = (name: string, error: object = new Error('x')): object =>
  Object.defineProperty(error, name, { get: refuses(name), configurable: true })

function proxyOf(target: object): object {
  return new Proxy(target, {
    get: refuses('proxy'),
    has: refuses('proxy'),
    getPrototypeOf: refuses('proxy'),
    ownKeys: refuses('proxy'),
    getOwnPropertyDescriptor: refuses('proxy'),
  })
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

class Nameless extends Error {
  static override get name(): string {
    throw new Error('the getter of a class')
  }
}

const itself = new Error('its own cause')
itself.cause = itself

export const HOSTILE_ERRORS: ReadonlyArray<readonly [name: string, make: () => unknown, isRead: boolean]> = [
  ...['code', 'message', 'name', 'cause', 'retryable', 'refusal', 'constructor'].map(
    (name) => [`an error whose ${name} throws`, () => getter(name), false] as const,
  ),
  ['an error whose stack throws', () => getter('stack'), true],
  ['an object whose code throws', () => getter('code', {}), false],
  ['an error whose cause cannot be read', () => new Error('x', { cause: proxyOf({}) }), true],
  ['a proxy that refuses all', () => proxyOf({}), false],
  ['a function that refuses all', () => proxyOf(() => {}), false],
  ['a proxy that was revoked', revoked, false],
  ['an error of a class whose name throws', () => new Nameless('x'), true],
  ['a frozen error', () => Object.freeze(new Error('frozen')), true],
  ['its own cause', () => itself, true],
  ['an error whose fields are no text', () => Object.assign(new Error('x'), { message: 5, name: {}, code: [] }), true],
  ['an object without a prototype', () => Object.create(null), true],
  ['a symbol', () => Symbol('x'), true],
  ['undefined', () => undefined, true],
  ['null', () => null, true],
]
