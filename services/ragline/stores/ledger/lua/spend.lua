-- Counts tokens that a job of this tenant has used, whoever has its claim by now.
spend(ARGV[1], ARGV[2])
return 'ok'
