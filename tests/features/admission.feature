@API-1 @DOC-1
Feature: Admission
  A job is accepted once, whole and for good, or refused with a reason and without a trace.
  Accepted means: the call answered, and the job is on disk.

  @ADM-1 @ADM-3
  Scenario: A good job is accepted and runs once
    Given a job that leaves a line in a file
    When it is submitted
    Then the answer is 202 and names the job
    And the job ends completed
    And the file has 1 line

  @JOB-3
  Scenario: The same job under the same key is the same job
    Given a job that leaves a line in a file
    And it was submitted under the key "order-7"
    When it is submitted under the key "order-7"
    Then the answer is 200 and calls it a duplicate
    And the job ends completed
    And the file has 1 line

  @JOB-3
  Scenario: Another job under a taken key is a conflict
    Given a job that leaves a line in a file
    And it was submitted under the key "order-8"
    And another job
    When it is submitted under the key "order-8"
    Then the answer is 409 with the code IDEMPOTENCY_CONFLICT
    And it shows both digests
    And nothing was stored for it

  @ADM-6 @JOB-1
  Scenario Outline: A job that breaks a rule is refused, and nothing is stored
    Given a job with <fault>
    When it is submitted
    Then the answer is <status> with the code <code>
    And nothing was stored for it

    Examples:
      | fault                       | status | code         |
      | a key that nobody knows     | 400    | INVALID_SPEC |
      | no adapter                  | 400    | INVALID_SPEC |
      | a pool that does not exist  | 400    | INVALID_SPEC |
      | two dots in its id          | 400    | INVALID_SPEC |
      | a deadline that has passed  | 400    | DEADLINE_UNMET |
      | more than a mebibyte        | 413    | PAYLOAD_TOO_LARGE |

  @ADM-6
  Scenario: A bad job in a batch costs the others nothing
    Given a batch of a good job, a bad one and a good one
    When the batch is submitted
    Then the answers are a job, an error and a job, in this order
    And both jobs end completed

  @ADM-1
  Scenario: The stream of requests is the same door
    Given a job that leaves a line in a file
    When it is added to the stream of requests
    Then the answer is found under its request id
    And the job ends completed
    And the file has 1 line
