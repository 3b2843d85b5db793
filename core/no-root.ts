/**
 * What `import 'concordat'` loads, and so the only module that throws when it is imported: each part has a subpath of its
 * own, so that nobody loads a driver they do not use.
 */
throw new Error(
  "concordat has no root export: import a part, such as 'concordat/binder', 'concordat/saga', 'concordat/outbox', 'concordat/locks/redis'; the README lists them all",
)

export {}
