-- A final failure of a claimed step: the job and its document end.
local id, token, code, detail = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local answer = check_claim(id, token)
if answer ~= 'ok' then return answer end
fail(id, code, detail)
return 'ok'
