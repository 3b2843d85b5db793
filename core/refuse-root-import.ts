/**
 * Loaded by `import 'concordat'`; the only module that throws on import. Each part has its own subpath, so that no program loads
 * a driver that it does not use.
 */
throw new Error(
  "concordat has no root export: import a part, such as 'concordat/binder', 'concordat/saga', 'concordat/outbox', 'concordat/redis'; the README lists them all",
)

export {}
