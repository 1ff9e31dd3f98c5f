"""Lambda entry points: parse, call, map. Powertools lives here and nowhere deeper."""
