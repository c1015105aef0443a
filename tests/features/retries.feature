@API-1 @DOC-1
Feature: Retries and dead letters
  What may pass by itself is tried again, with a pause that holds no slot. What does not pass is kept as a dead
  letter, and can be tried again by hand, as a new job.

  @FBK-1
  Scenario: A passing trouble is tried again
    Given a job that fails once with exit code 75 and then succeeds
    When it is submitted
    Then the job ends completed
    And it took 2 attempts

  @FBK-1
  Scenario: A fault of logic is not
    Given a job that always fails with exit code 3
    When it is submitted
    Then the job ends failed
    And it took 1 attempt

  @FBK-1 @FBK-4
  Scenario: After its last attempt a job is a dead letter
    Given a job that always fails with exit code 75, of 2 attempts
    When it is submitted
    Then the job ends failed
    And it took 2 attempts
    And it is among the dead letters, because its attempts are used

  @FBK-4
  Scenario: A dead letter is tried again as a new job
    Given a dead letter
    When it is replayed
    Then there is a new job, and both name each other
    And it is no dead letter any more

  @FBK-4
  Scenario: Looking which dead letters would be tried again makes nothing
    Given a dead letter
    When it is replayed, only to see
    Then it is named, and nothing was made

  @SCH-3
  Scenario: The pause before the next attempt holds no slot
    Given a job that waits for its second attempt
    When another job is submitted
    Then the job ends completed
    And the first one still waits
