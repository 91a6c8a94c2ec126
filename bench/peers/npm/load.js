// Lies beside the node_modules of package.json, so that names are resolved there.
export const load = (name) => import(name);
