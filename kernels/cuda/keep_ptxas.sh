#!/bin/sh
# keep_ptxas.sh COMPILER ARGUMENTS...: runs nvcc and keeps ptxas's report on the kernels as <object>.ptxas.
previous='' object=''
for argument in "$@"; do
  [ "$previous" = -o ] && object=$argument
  previous=$argument
done
[ -n "$object" ] || exec "$@"
"$@" 2>"$object.ptxas"
status=$?
grep -v -e '^ptxas info' -e 'bytes stack frame' "$object.ptxas" >&2
exit $status
