/** Globals of the scripts that the pages load before their own. */

declare function SwaggerUIBundle(options: object): void;
