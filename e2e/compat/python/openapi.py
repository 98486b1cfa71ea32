"""Checks the OpenAPI document on standard input against the specification."""

import json
import sys

from openapi_spec_validator import OpenAPIV30SpecValidator

problems = list(OpenAPIV30SpecValidator(json.load(sys.stdin)).iter_errors())
for problem in problems[:20]:
    print(f"{'/'.join(map(str, problem.absolute_path))}: {problem.message}", file=sys.stderr)
sys.exit(1 if problems else 0)
