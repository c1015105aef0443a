@API-1 @EVT-2 @DOC-1
Feature: Streaming
  A job's event stream begins with `started`, tells everything that happens, ends with exactly one `end` or
  `error`, and can be resumed behind any frame.

  Scenario: A watcher sees the job from its beginning to its end
    Given the only slot is taken
    And a waiting job
    And a watcher of it
    When the slot becomes free
    Then the watcher is sent started first and end last
    And the watcher was sent the whole ledger, in order

  Scenario: A watcher who comes late sees the same
    Given a completed job
    When somebody watches it
    Then the watcher is sent started first and end last
    And the watcher was sent the whole ledger, in order

  Scenario: A watcher who was cut off goes on where it stood
    Given a completed job
    And a watcher who was cut off after its second frame
    When the watcher comes back with the id of that frame
    Then it is sent the rest, and nothing twice

  Scenario: A failed job ends its stream with an error
    Given a failed job
    When somebody watches it
    Then the watcher is sent started first and error last
    And the error says JOB_FAILED

  @EVT-3
  Scenario: A watcher who reads nothing holds up nobody
    Given a watcher who never reads, of a running job that talks a lot
    When the job may end
    Then the job ends completed
    And another watcher is sent its end
