#!/bin/bash
# In the emulated host, on its second serial port: one line "ID BASE64" is a command; what it says comes back between marks.
port=/dev/ttyS1
stty -F $port raw -echo -echoe -echok
exec 3<$port 4>$port
printf '\n@@READY@@\n' >&4
while IFS= read -r line <&3; do
  id=${line%% *}
  [[ $line == *' '* ]] || continue
  command=$(base64 -d <<<"${line#* }" 2>/dev/null) || continue
  printf '\n@@BEGIN %s@@\n' "$id" >&4
  (cd /root; exec bash -c "$command") </dev/null >&4 2>&1
  printf '\n@@END %s %d@@\n' "$id" $? >&4
done
